"""Commands on data sets: cards, checks, prompts, features. Nothing in hierfit imports this but the command line."""
