"""What S2D2 is put together from: the draft, the routes with their estimators, the acceptance and the base rules."""
