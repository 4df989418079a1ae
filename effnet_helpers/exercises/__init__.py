"""Checks answers to the exercises: not attempted, not yet with the hint that helps, or right and why."""

from effnet_helpers.exercises.core import Exercise, Mistake, Result, check, hint
