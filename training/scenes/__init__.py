"""Storybook scenes: procedurally drawn pictures and clips with their questions and answers."""
