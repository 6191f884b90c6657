"""Replay of samplers of latents: the strategies themselves, on recorded noise and the recorded or described model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from decoders.core import Pred, Space, State, alpha, sigma
from decoders.models.latent.families import fitted, read_weights
from decoders.models.latent.langflow import LangFlow
from decoders.models.reading import read_json
from decoders.stats.betas import BETAS
from decoders.strategies.latent.base import FIRST, Latent
from decoders.strategies.latent.samplers import DDIM, DDPM, DPMpp2M, DPMpp3M, Heun
from decoders.strategies.latent.schedules import Discrete, Learned, Schedule
from decoders_bench.golden.cases import Case, MismatchError, SkipError
from decoders_bench.golden.models import Models

TOLERANCE = 2e-5
"""The tolerance for latents, relative to the largest one: references compute their schedules in single precision."""


@dataclass(frozen=True)
class Recorded(State):
    """A state whose normal random numbers are those of a recorded run."""

    noise: Tensor | None = None  # (K, B, W, D)  in the order in which they were drawn
    later: int = 1  # the index of the numbers for the first move
    every: int = 1  # how many of them a move draws

    def normal(self, salt: int, width: int, timeless: bool = False) -> Tensor:
        assert self.noise is not None
        k = 0 if salt == FIRST else self.later + self.every * int(self.step[0])
        return self.noise[min(k, len(self.noise) - 1)]  # the last move needs no noise, and some draw none for it


class Moment(NamedTuple):
    """A forward pass: the latents before it, the clean latents that the move used, and the tokens after it."""

    z: Tensor
    x: Tensor
    tokens: Tensor
    level: Tensor


Network = Callable[[int, Tensor, Tensor, Tensor], Pred]
"""The prediction in forward pass n of z at a level (B,), given the last prediction of the clean latents."""


def run(
    decoder: Latent, levels: Tensor, noise: Tensor, network: Network, later: int = 1, every: int = 1
) -> Iterator[Moment]:
    """Every forward pass of a run at these levels; each of its moves takes `every` normal numbers, beginning with
    number `later`."""
    B, W, D = noise.shape[1:]
    zero = torch.zeros(B, W, dtype=torch.long)
    one = torch.ones(B, dtype=torch.long)
    space = Space(D, tuple(levels.double().tolist()))
    s: State = Recorded(
        tokens=zero, open=zero == 0, editable=zero == 0, confidence=zero.double(), committed_at=zero - 1,
        position=torch.arange(W).expand(B, W), size=one * W, room=one * W, opened=one * W, windows=one, step=0 * one,
        clock=0 * one, key=one, mask_id=None, vocab=1 << 16, limit=one * W, space=space, noise=noise, later=later,
        every=every,
    )
    s = decoder.begin(s)
    n = 0
    while not bool(decoder.done(s).all()):
        q = decoder.query(s)
        assert q.latents is not None
        assert q.level is not None
        z, said = q.latents.z, q.latents.said
        s = decoder.step(s, network(n, z, q.level, said))
        yield Moment(z, s.memo.x, s.tokens, q.level)
        n += 1
        s = replace(s, step=s.step + 1, clock=s.clock + 1)


def close(what: str, step: int, own: Tensor, other: Tensor) -> None:
    error = float((own.double() - other.double()).abs().max())
    bound = TOLERANCE * max(1.0, float(other.double().abs().max()))
    if not error <= bound:
        raise MismatchError(f"{what} differs by {error:.2g}, and {bound:.2g} is allowed", step)


def same_tokens(own: Tensor, expected: list[list[int]]) -> None:
    if own.tolist() != expected:
        raise MismatchError("the tokens are others", None)


def read(table: Tensor, point: Tensor) -> Pred:
    """The prediction of a model that predicts the clean latent, from which its logits are computed."""
    B, W, _ = point.shape
    return Pred(point @ table.T, torch.arange(W).expand(B, W), W, table=table, point=point)


NOWHERE = Space(1, (0.0, 0.0))
"""For schedules that do not depend on what a model learnt."""


class Tiny:
    """The denoiser that the data describes: one hidden layer that mixes positions by their mean."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.own = {name.removeprefix("model."): x for name, x in tensors.items() if name.startswith("model.")}

    def __call__(self, x: Tensor, condition: Tensor | float, said: Tensor | None = None) -> Tensor:
        m = self.own
        inner = x @ m["A"] + x.mean(1, keepdim=True) @ m["M"] + condition * m["b"] + m["pos"][: x.shape[1]]
        return torch.tanh(inner if said is None else inner + said @ m["S"])

    def point(self, x: Tensor, condition: Tensor | float, said: Tensor | None = None) -> Tensor:
        return self(x, condition, said) @ self.own["C"]


def of_signal(squared: Tensor) -> Tensor:
    """The levels for squared alphas."""
    return torch.log1p(-squared.double()) - squared.double().log()


def named(schedule: str, trained: int, respacing: str) -> tuple[Schedule, int | None]:
    """A schedule by its name in the code of Diffusion-LM, and its number of forward passes; None: as many as in
    training."""
    kind = Schedule.known()[schedule]
    if respacing.startswith("ddim"):
        return kind(trained=trained, kept="stride"), int(respacing[4:])
    counts = tuple(map(int, respacing.split(","))) if respacing else ()
    return kind(trained=trained, sections=counts if len(counts) > 1 else ()), sum(counts) or None


def schedules(case: Case) -> str:
    """Compare the tables of betas, and the training steps that are kept."""
    if case.name == "schedules":
        for name, found in case.tensors().items():
            kind, count = name.removesuffix(".betas").rsplit("_", 1)
            close(name, 0, BETAS[kind](int(count)), found)
        return ""
    for name, kept in case.data["expected"].items():
        trained, respacing = name.split("/")
        schedule, forwards = named("sqrt", int(trained), respacing)
        if not isinstance(schedule, Discrete) or schedule.steps(forwards or int(trained)) != kept:
            raise MismatchError(f"other steps are kept of {name}")
    return ""


def diffusion_lm(case: Case, models: Models) -> str:
    """Compare every forward pass of p_sample and of the DDIM loop, including the clamping trick, at the levels of the
    schedule that the run names; the last sample is x itself."""
    if case.data["kind"] != "latent_trajectory":
        return schedules(case)
    q, t = case.params, case.tensors()
    tiny, table, times = Tiny(t), t["model.emb"], t["model_time"]
    given = t.get("open")
    known, first = t.get("known_embedding"), t["noise"]
    levels = of_signal(t["alphas_cumprod"].float()).flip(0)  # the reference reads them in single precision
    schedule, count = named(q["noise_schedule"], q["diffusion_steps"], q["timestep_respacing"])
    own = schedule(NOWHERE, torch.arange(len(levels)), count or q["diffusion_steps"])
    close("the level", 0, (-own).sigmoid(), (-levels).sigmoid())

    def network(n: int, z: Tensor, level: Tensor, said: Tensor) -> Pred:
        if given is not None and known is not None:
            clean = alpha(level) * known + sigma(level) * first[0] if n == 0 else known
            z = torch.where(given[..., None], z, clean)
        found = tiny.point(z, times[n][:, None, None] / 1000)
        if not q["predict_xstart"]:
            found = (z - sigma(level) * found) / alpha(level)
        return read(table, found.clamp(-1, 1) if q["clip_denoised"] else found)

    about: dict[str, Any] = {"steps": len(levels), "clamp": float(q["clamp"]), "last": "table"}
    eta = q.get("eta")
    ancestral = DDPM(variance="small" if q["sigma_small"] else "large", **about)
    decoder = ancestral if eta is None else DDIM(eta=eta, **about)
    drawn = {} if given is None else {"later": 2, "every": 2}
    noise = first if given is None else torch.cat([first[1:2], first[1:]])
    samples, moments = t["samples"], list(run(decoder, levels, noise, network, **drawn))
    for n, (m, after) in enumerate(zip(moments, [*(x.z for x in moments[1:]), moments[-1].x], strict=True)):
        here = slice(None) if given is None else given
        close("x", n, m.x[here], t["pred_xstart"][n][here])
        close("z", n, after[here], samples[n][here])
    if given is None:
        same_tokens(moments[-1].tokens, case.need("expected", "tokens_lm_head"))
    return ""


def k_diffusion(case: Case, models: Models) -> str:
    """Compare in the other convention, x = clean + sigma noise, where this library's latent is z / alpha."""
    t, kind = case.tensors(), case.need("reference", "function").removeprefix("sample_")
    sigmas, tiny, table = t["sigmas"], Tiny(t), t["model.emb"]
    levels = 2 * sigmas[:-1].log()
    steps = len(levels)
    decoders: dict[str, Latent] = {
        "euler": DDIM(steps=steps), "euler_ancestral": DDIM(eta=1.0, steps=steps), "dpmpp_2m": DPMpp2M(steps=steps),
        "dpmpp_2m_sde": DPMpp2M(
            eta=float(case.params.get("eta", 1.0)), solver=case.params.get("solver_type", "midpoint"), steps=steps
        ),
        "dpmpp_3m_sde": DPMpp3M(eta=float(case.params.get("eta", 1.0)), steps=steps),
        "heun": Heun(steps=2 * steps - 1),
    }
    def network(n: int, z: Tensor, level: Tensor, said: Tensor) -> Pred:
        spread = (level / 2).exp()[:, None, None]
        x = z / alpha(level)
        return read(table, tiny.point(x / (spread**2 + 1).sqrt(), spread.log() / 4))

    noise = t["noise"].clone()
    noise[0] = noise[0] * levels[0].sigmoid().sqrt()
    moments = list(run(decoders[kind], levels, noise, network))
    if len(moments) != case.need("expected", "nfe"):
        raise MismatchError(f"{len(moments)} forwards, and not {case.need('expected', 'nfe')}")
    for n, m in enumerate(moments[:: 2 if kind == "heun" else 1]):
        close("x", n, m.z / alpha(m.level), t["x"][n])
    close("the last x", len(moments), moments[-1].x, t["x"][-1])
    return ""


@dataclass(frozen=True)
class Plaid(Latent):
    """A sampler with Plaid's time steps: the next level is 1/T further, although neighbouring levels are 1/(T - 1)
    apart."""

    beyond: tuple[float, ...] = ()
    inner: Latent = DDIM()  # noqa: RUF009

    def levels_of(self, s: State) -> tuple[Tensor, Tensor]:
        ahead = torch.tensor(self.beyond, dtype=torch.float64)[s.step]
        return self.level(s, s.step), ahead

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        return self.inner.move(s, x, here, ahead)


def plaid(case: Case, models: Models) -> str:
    """The last forward pass is repeated with its own prediction as self-conditioning, as in the reference."""
    q, t = case.params, case.tensors()
    if q["guidance"]:
        raise SkipError("guidance by the gradient of the model, which no strategy has")
    tiny, table, count = Tiny(t), t["embedding_matrix"], int(q["sampling_timesteps"])
    first, second = (torch.nn.functional.softplus(t[f"noise_schedule.W{i}"].double()) for i in (1, 2))
    bias = t["noise_schedule.b1"].double()

    def raw(time: Tensor) -> Tensor:
        return (torch.tanh((time[..., None] - 0.5) * first[:, 0] + bias) * 0.01 * second[0]).sum(-1)

    def gamma(time: Tensor) -> Tensor:
        zero, one = raw(torch.zeros(())), raw(torch.ones(()))
        share = (raw(time) - zero) / (one - zero)
        return float(q["gamma_0"]) + (float(q["gamma_1"]) - float(q["gamma_0"])) * share

    times = torch.linspace(1.0, 0.0, count).double()
    levels = torch.cat([gamma(times), gamma(times[-1:])])
    beyond = torch.cat([gamma(times - 1.0 / count)[:-1], levels[-2:]])

    def network(n: int, z: Tensor, level: Tensor, said: Tensor) -> Pred:
        g, z = level.float().double(), z.float().double()
        a, b, d = alpha(g), sigma(g), z.shape[-1]
        hidden = tiny(z / (a**2 / d + b**2).sqrt(), (g / 6)[:, None, None], said * d**0.5)
        logits = hidden @ tiny.own["W"] + a / b**2 * z @ table.T
        point = (logits.softmax(-1) @ table).float().double()
        B, W, _ = z.shape
        return Pred(logits, torch.arange(W).expand(B, W), W, table=table, point=point)

    inner = DDIM() if q["ddim_sampler"] else DDPM()
    decoder = Plaid(count + 1, temperature=q["score_temp"], beyond=tuple(beyond.tolist()), inner=inner)
    noise = torch.cat([t["noise"][:1] * q["initial_noise_scale"], t["noise"][1:]])
    moments = list(run(decoder, levels, noise, network))
    for n, m in enumerate(moments[:count]):
        close("z", n, m.z, t["z_seen"][n])
    same_tokens(moments[-1].tokens, case.need("expected", "tokens"))
    return ""


def langflow(case: Case, models: Models) -> str:
    """The reference's own network with its own weights, at the levels that it learnt: the sampler is DDIM, although the
    code names it differently."""
    t, folder = case.tensors(), case.path.parent / "model"
    net = LangFlow(read_json(folder / "config.json")).requires_grad_(False)
    fitted(net, read_weights(folder / "model.safetensors"), folder)
    count, space = len(t["gamma"]), net.space()
    close("the level", 0, Learned()(space, torch.arange(count), count), t["gamma"])

    def network(n: int, z: Tensor, level: Tensor, said: Tensor) -> Pred:
        B, W, _ = z.shape
        sees = torch.ones(B, W, W, dtype=torch.bool)
        found = net(z.float(), said.float(), level.float(), sees)
        close("the logits", n, found.logits, t["logits"][n])
        return Pred(found.logits, torch.arange(W).expand(B, -1), W, table=net.table)

    moments = list(run(DDIM(steps=count), t["gamma"], t["noise"].float(), network))
    for n, m in enumerate(moments):
        close("z", n, m.z, t["z"][n])
    same_tokens(moments[-1].tokens, case.need("expected", "tokens"))
    return ""


def ld4lg(case: Case, models: Models) -> str:
    """The model predicts v, noise or x0; the last x is the result of the run."""
    q, t = case.params, case.tensors()
    kind, tiny, table = case.name.split("_")[0], Tiny(t), t["model.emb"]
    squared = t["alpha"].double()
    count = int(q["sampling_timesteps"])
    levels = of_signal(squared)[:count]

    def network(n: int, z: Tensor, level: Tensor, said: Tensor) -> Pred:
        found, (a, b) = tiny.point(z, float(squared[n]), None if n == 0 else said), (alpha(level), sigma(level))
        clean = {"pred_v": a * z - b * found, "pred_noise": (z - b * found) / a, "pred_x0": found}
        return read(table, clean[q["objective"]])

    decoders: dict[str, Latent] = {
        "ddim": DDIM(steps=count), "ddpm": DDPM(variance="large", steps=count), "dpmpp": DPMpp2M(steps=count)
    }
    moments = list(run(decoders[kind], levels, t["noise"], network))
    close("the last x", count, moments[-1].x, t["z"])
    return ""


LATENT: dict[str, Callable[[Case, Models], str]] = {
    "diffusion_lm": diffusion_lm, "k_diffusion": k_diffusion, "langflow": langflow, "ld4lg": ld4lg, "plaid": plaid
}
