"""The words that prompts are made of. Each is one token of the embedded model."""

from __future__ import annotations

NAMES = """Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jill Kofi Lena Max Nina Omar Pia Quin Rosa Sam Tess Uma Vera Wes Xena
Yara Zoe""".split()
THINGS = "apples books coins cards eggs keys lamps maps nuts pens plums rings shells stamps toys".split()
CITIES = """Athens Berlin Cairo Delhi Dublin Havana Kyiv Lagos Lima Lisbon Madrid Nairobi Oslo Paris Prague Quito Rome
Seoul Tokyo Vienna""".split()
JOBS = """actor baker chef dentist driver editor farmer guard judge lawyer miner nurse painter pilot sailor singer
tailor teacher vet writer""".split()
GAIN = "buys finds gets wins".split()
LOSE = "drops eats gives loses sells".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CAPITALS = LETTERS.upper()
