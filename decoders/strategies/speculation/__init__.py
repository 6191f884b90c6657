"""The parts of S2D2: the draft, the routes with their estimators, the acceptance and the base rules."""
