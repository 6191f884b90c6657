// Statistics of rows of logits in one read of them. `decoders/stats/compiled.py` says what is asked of it.
//
// A row is worked on in chunks that stay in the first-level cache: each is looked at for its maximum, and then summed
// below the largest logit so far (online softmax: Milakov and Gimelshein 2018, 1805.02867), in float32 within a chunk
// and in double across chunks. Vectors have a width of their own, whatever the processor's is, and nothing depends on
// where a row lies, so that a row has the same bits in any batch, in any view and at any number of threads.
//
// What is not sure to be what the reference finds is not decided here but left `MISSING`, and the reference is asked.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 16;
constexpr int STEP = 4 * LANES;  // columns that are worked on at once; chunks are padded to a multiple
constexpr int CHUNK = 1024;
constexpr float NONE = -std::numeric_limits<float>::infinity();
constexpr float LOWEST = -86.0f;  // e to this is near the smallest float, and nothing beside a sum that is at least 1
constexpr double BORDER = 2e-7;   // of the whole: so near to the border of a token's share, rounding might decide
constexpr double CLOSE = 1e-9;    // scores that are nearer than this are equal to rounding

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

constexpr int HASHES = LANES / 2;  // of twice the width
typedef uint64_t Hashes __attribute__((vector_size(8 * HASHES)));
typedef int64_t Longs __attribute__((vector_size(8 * HASHES)));
typedef float Noises __attribute__((vector_size(4 * HASHES)));
typedef int32_t Whole __attribute__((vector_size(4 * HASHES)));

template <class To, class From>
inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <class Vector = Floats>
inline Vector load(const float* from) {
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

template <class Vector>
inline Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
}
inline Floats smaller(Floats a, Floats b) { return a > b ? b : a; }
inline Floats all(float x) { return Floats{} + x; }

template <class Vector>
inline float largest(Vector x) {
    float most = x[0];
    for (size_t i = 1; i < sizeof x / sizeof most; i++) most = std::max(most, x[i]);
    return most;
}

inline double sum(const Floats (&x)[4]) {
    Floats all = (x[0] + x[1]) + (x[2] + x[3]);
    double whole = 0;
    for (int i = 0; i < LANES; i++) whole += all[i];
    return whole;
}

// e to the power of x, from LOWEST to 0: two to a whole power, times the polynomial of Cephes (Moshier) for the rest.
inline Floats exponential(Floats x) {
    const float round = 12582912.0f;  // 1.5 * 2^23: what is added to it loses its fraction
    Floats shifted = x * 1.44269504f + round, whole = shifted - round;
    Floats r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return bits<Floats>(bits<Ints>(p) + (bits<Ints>(shifted) << 23));
}

// What is asked, and where the answers go.
struct Job {
    const void* data;
    int64_t brain;  // whether logits are bfloat16, and not float32
    int64_t rows, columns, stride;
    const int64_t* banned;  // ascending
    int64_t banned_count, threads;
    double temperature;
    const double* uniform;  // (rows); null: no sample
    const int64_t* hashes;  // (rows), of a race
    int64_t* tokens;        // (2, rows): the likeliest and the sample, or (rows): who wins a race; MISSING if unsure
    float* numbers;         // (5, rows), see `Numbers`
};

constexpr int64_t MISSING = -1;  // the reference is asked

// Logarithms of the sum of exponentials, and of the probabilities of the likeliest token and of the sample.
enum Numbers { LOG_WHOLE, LOG_BEST, LOG_SAMPLE, ENTROPY, MARGIN };

// Chunks of a row as float32, -inf where a token is banned and behind the end.
class Row {
public:
    Row(const Job& x, int64_t row) : x(x), begin(row * x.stride) {}

    int64_t chunks() const { return (x.columns + CHUNK - 1) / CHUNK; }
    int width(int64_t chunk) const { return int(std::min<int64_t>(CHUNK, x.columns - chunk * CHUNK)); }

    // The logits of a chunk, and how many they are with what fills up the last step.
    const float* read(int64_t chunk, int& padded) {
        const int64_t from = chunk * CHUNK, there = width(chunk);
        const int64_t* end = x.banned + x.banned_count;
        const int64_t* ban = x.banned_count ? std::lower_bound(x.banned, end, from) : end;
        padded = int((there + STEP - 1) / STEP * STEP);
        const bool clean = ban == end || *ban >= from + there;
        if (!x.brain && clean && padded == there) return static_cast<const float*>(x.data) + begin + from;
        if (x.brain) {
            widen(static_cast<const uint16_t*>(x.data) + begin + from, int(there));
        } else {
            std::memcpy(copy, static_cast<const float*>(x.data) + begin + from, there * sizeof(float));
        }
        std::fill(copy + there, copy + padded, NONE);
        for (; ban != end && *ban < from + there; ban++) copy[*ban - from] = NONE;
        return copy;
    }

    float logit(int64_t column) const {
        return x.brain ? wide(static_cast<const uint16_t*>(x.data)[begin + column])
                       : static_cast<const float*>(x.data)[begin + column];
    }

private:
    static float wide(uint16_t x) { return bits<float>(uint32_t(x) << 16); }

    void widen(const uint16_t* from, int count) {
        for (int i = 0; i < count; i++) copy[i] = wide(from[i]);
    }

    const Job& x;
    const int64_t begin;
    alignas(64) float copy[CHUNK];
};

// The two largest of each lane.
struct Two {
    Floats first = all(NONE), second = all(NONE);

    void meet(Floats x) {
        second = larger(second, smaller(first, x));
        first = larger(first, x);
    }
    void meet(const Two& other) {
        second = larger(larger(second, other.second), smaller(first, other.first));
        first = larger(first, other.first);
    }
    float runner_up() const {
        float one = NONE, two = NONE;
        for (int i = 0; i < LANES; i++) {
            two = std::max(std::max(two, second[i]), std::min(one, first[i]));
            one = std::max(one, first[i]);
        }
        return two;
    }
};

Two two_largest(const float* x, int padded) {
    Two lanes[4];
    for (int i = 0; i < padded; i += STEP)
        for (int k = 0; k < 4; k++) lanes[k].meet(load(x + i + k * LANES));
    lanes[0].meet(lanes[1]);
    lanes[2].meet(lanes[3]);
    lanes[0].meet(lanes[2]);
    return lanes[0];
}

inline Floats below(Floats x, float top) { return larger(all(LOWEST), x - top); }  // NaN stays NaN

struct Sums {
    double whole, fall;  // of e^d, and of e^d d, where d is how far a logit is below the largest
};

Sums summed(const float* x, int padded, float top) {
    Floats whole[4] = {}, fall[4] = {};
    for (int i = 0; i < padded; i += STEP)
        for (int k = 0; k < 4; k++) {
            Floats d = below(load(x + i + k * LANES), top), e = exponential(d);
            whole[k] += e;
            fall[k] += e * d;
        }
    return {sum(whole), sum(fall)};
}

// The sum of e^d at a temperature. Quotients are rounded as the reference rounds them.
double warm_sum(const float* x, int padded, float top, float temperature) {
    Floats whole[4] = {};
    for (int i = 0; i < padded; i += STEP)
        for (int k = 0; k < 4; k++)
            whole[k] += exponential(below(load(x + i + k * LANES) / temperature, top / temperature));
    return sum(whole);
}

int place(const float* x, int width, float wanted) {
    for (int i = 0; i < width; i++)
        if (x[i] == wanted) return i;
    return 0;
}

struct Mass {
    double weight;
    float top;  // the largest logit when it was weighed
};

struct Found {
    int64_t token = 0, chunk = 0;
    float top = NONE, second = NONE;
    double whole = 0, fall = 0;

    bool defined() const { return std::isfinite(top) && std::isfinite(whole); }

    // Sums are below the largest logit, which is another now.
    void rise(float to) {
        const double step = double(top) - to, factor = std::exp(step);
        fall = top == NONE ? 0 : (fall + step * whole) * factor;
        whole = top == NONE ? 0 : whole * factor;
        top = to;
    }
};

// Everything about a row; with `masses` also what each chunk weighs at the temperature.
Found scanned(Row& row, std::vector<Mass>* masses, float temperature) {
    Found found;
    Two two;
    for (int64_t chunk = 0; chunk < row.chunks(); chunk++) {
        int padded;
        const float* x = row.read(chunk, padded);
        const Two own = two_largest(x, padded);
        const float most = largest(own.first);
        two.meet(own);
        if (most > found.top) {
            found.rise(most);
            found.chunk = chunk;
        }
        const float top = found.top == NONE ? 0 : found.top;
        const Sums sums = summed(x, padded, top);
        found.whole += sums.whole;
        found.fall += sums.fall;
        if (masses) {
            const double weight = temperature == 1 ? sums.whole : warm_sum(x, padded, top, temperature);
            masses->push_back({found.top == NONE ? 0 : weight, found.top});
        }
    }
    int padded;
    const float* x = row.read(found.chunk, padded);
    found.token = found.chunk * CHUNK + place(x, row.width(found.chunk), found.top);
    found.second = two.runner_up();
    return found;
}

// The token in whose share `uniform` falls; MISSING where that is too near to a border.
int64_t drawn(Row& row, std::vector<Mass>& masses, float top, double uniform, float temperature) {
    double whole = 0, before = 0;
    for (Mass& m : masses) {
        m.weight *= std::exp(double(m.top / temperature) - double(top / temperature));
        whole += m.weight;
    }
    const double goal = uniform * whole, apart = BORDER * whole;
    size_t chunk = 0;
    for (; chunk < masses.size() && before + masses[chunk].weight <= goal; chunk++) before += masses[chunk].weight;
    if (chunk == masses.size()) return MISSING;
    int padded;
    const float* x = row.read(chunk, padded);
    alignas(64) float weights[CHUNK];
    for (int i = 0; i < padded; i += LANES) {
        const Floats e = exponential(below(load(x + i) / temperature, top / temperature));
        std::memcpy(weights + i, &e, sizeof e);
    }
    for (int i = 0; i < row.width(chunk); i++) {
        const double after = before + weights[i];
        if (after > goal) return goal - before > apart && after - goal > apart ? int64_t(chunk) * CHUNK + i : MISSING;
        before = after;
    }
    return MISSING;
}

template <class Integers>
inline Integers scrambled(Integers h) {
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 27) * 0x94D049BB133111EBu;
    return h ^ h >> 31;
}

// Who has the largest x / temperature + noise. The noise of few tokens has to be known exactly: it is
// -log(-log(1 - q)), which is at most -log(q), of which the bits of q as a float tell enough.
class Race {
public:
    Race(uint64_t hash, double temperature) : hash(hash), temperature(temperature) {}

    void enter(const float* x, int padded, int64_t from) {
        alignas(64) float bound[CHUNK];
        Noises most = Noises{} + NONE;
        const float inverse = float(1 / temperature);
        for (int i = 0; i < padded; i += HASHES) {
            const Noises logit = load<Noises>(x + i), b = logit * inverse + noise_at_most(uint64_t(from + i));
            undefined |= logit != logit;
            most = larger(most, b);
            std::memcpy(bound + i, &b, sizeof b);
        }
        const float top = largest(most);
        if (top == NONE || !(top >= bar)) return;
        const int favourite = place(bound, padded, top);
        run(x[favourite], from + favourite);
        for (int i = 0; i < padded; i++)
            if (bound[i] >= bar && i != favourite) run(x[i], from + i);
    }

    bool sure() const {
        for (int i = 0; i < HASHES; i++)
            if (undefined[i]) return false;
        return std::isfinite(best) && best - second > CLOSE * (1 + std::fabs(best));
    }

    int64_t winner = 0;

private:
    Noises noise_at_most(uint64_t first) const {
        const Hashes lane{0, 1, 2, 3, 4, 5, 6, 7};
        const Longs u = bits<Longs>(scrambled(lane + (hash + first)) >> 11);  // u and q are times 2^53
        const Whole q = bits<Whole>(__builtin_convertvector((int64_t(1) << 53) - u, Noises));
        return 0.69314718f * 180 - __builtin_convertvector(q, Noises) * (0.69314718f / (1 << 23));
    }

    void run(float logit, int64_t token) {
        const double tiny = std::numeric_limits<double>::min();
        const double u = double(scrambled(hash + uint64_t(token)) >> 11) / double(uint64_t(1) << 53);
        const double score = double(logit) / temperature - std::log(-std::log(std::max(u, tiny)));
        if (score > best) {
            second = best;
            best = score;
            winner = token;
            bar = float(best - 1e-3 - 1e-6 * std::fabs(best));
        } else {
            second = std::max(second, score);
        }
    }

    const uint64_t hash;
    const double temperature;
    double best = NONE, second = NONE;
    float bar = NONE;  // the least bound that may still win
    Whole undefined = {};
};

// Rows in as many parts as there are threads, if there is enough to do.
template <class Work>
void in_parts(const Job& x, const Work& work) {
    const int64_t parts = std::max<int64_t>(1, std::min({x.threads, x.rows, x.rows * x.columns >> 17}));
    std::vector<std::thread> others;
    const auto part = [&](int64_t i) { work(x.rows * i / parts, x.rows * (i + 1) / parts); };
    for (int64_t i = 1; i < parts; i++) {
        try {
            others.emplace_back(part, i);
        } catch (...) {  // no thread is to be had
            part(i);
        }
    }
    part(0);
    for (std::thread& other : others) other.join();
}

void find(const Job& x, int64_t i, std::vector<Mass>& masses) {
    Row row(x, i);
    masses.clear();
    const Found found = scanned(row, x.uniform ? &masses : nullptr, float(x.temperature));
    int64_t &token = x.tokens[i], &sample = x.tokens[x.rows + i];
    const auto number = [&](Numbers which) -> float& { return x.numbers[which * x.rows + i]; };
    token = sample = MISSING;
    if (!found.defined()) return;
    const double whole = found.whole, log = std::log(whole);
    const float log_whole = found.top + float(log);
    token = found.token;
    number(LOG_WHOLE) = log_whole;
    number(LOG_BEST) = found.top - log_whole;
    number(ENTROPY) = float(std::max(0.0, log - found.fall / whole));
    number(MARGIN) = float(1 / whole) - float(std::exp(double(found.second) - found.top) / whole);
    if (!x.uniform) return;
    sample = drawn(row, masses, found.top, x.uniform[i], float(x.temperature));
    if (sample != MISSING) number(LOG_SAMPLE) = row.logit(sample) - log_whole;
}

bool missing(const int64_t* tokens, int64_t rows) {
    return std::any_of(tokens, tokens + rows, [](int64_t token) { return token == MISSING; });
}

}  // namespace

extern "C" {

// What is returned is whether the reference has to be asked about any row.
int decoders_rows(const Job* job) {
    const Job& x = *job;
    in_parts(x, [&](int64_t from, int64_t to) {
        std::vector<Mass> masses;
        for (int64_t i = from; i < to; i++) find(x, i, masses);
    });
    return missing(x.tokens, x.rows) || (x.uniform && missing(x.tokens + x.rows, x.rows));
}

int decoders_race(const Job* job) {
    const Job& x = *job;
    in_parts(x, [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; i++) {
            Row row(x, i);
            Race race{uint64_t(x.hashes[i]), x.temperature};
            for (int64_t chunk = 0; chunk < row.chunks(); chunk++) {
                int padded;
                const float* logits = row.read(chunk, padded);
                race.enter(logits, padded, chunk * CHUNK);
            }
            x.tokens[i] = race.sure() ? race.winner : MISSING;
        }
    });
    return missing(x.tokens, x.rows);
}

}
