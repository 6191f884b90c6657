"""Typed decisions: what a model makes of questions about a text, as probabilities of their answers.

Nothing is generated. An answer is a label behind the text and the question; its tokens are holes, and one forward says
how probable each label is there. `Generator.decide` asks, `Generator.read` reads holes of a
text of one's own, and `decoders.decide.reading` holds the tensor functions."""

from decoders.decide.answers import Answer, Decisions, Reading
from decoders.decide.questions import Choice, Predicate, Question, Score

__all__ = ["Answer", "Choice", "Decisions", "Predicate", "Question", "Reading", "Score"]
