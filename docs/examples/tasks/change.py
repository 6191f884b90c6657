"""A task with several right answers."""

from random import Random

from decoders_bench.tasks import Grade, Problem, Task

COINS = (200, 100, 50, 20, 10, 5, 2, 1)


class Change(Task):
    """Pay an amount in coins; any coins that add up to it are right."""

    name = "change"
    length = {"easy": 24, "hard": 48}

    def problem(self, rng: Random, rung: str) -> Problem:
        coins = [rng.choice(COINS) for _ in range(rng.randint(3, 6) if rung == "easy" else rng.randint(8, 12))]
        return {"amount": sum(coins), "coins": sorted(coins)}

    def asked(self, problem: Problem) -> Problem:
        return {"amount": problem["amount"]}  # the coins are one of several right answers, and no prompt shows them

    def prompt(self, problem: Problem, template: int) -> str:
        amount = problem["amount"]
        return f"Change: {amount}" if template == 0 else f"{amount} in coins?"

    def answer(self, problem: Problem) -> str:
        return "".join(f" {coin}" for coin in problem["coins"])

    def grade(self, problem: Problem, text: str) -> Grade:
        coins = [int(word) for word in text.split() if word in {str(c) for c in COINS}]
        return Grade(len(coins) == len(text.split()) and sum(coins) == problem["amount"])
