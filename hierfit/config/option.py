"""For the search, until it takes these from `hierfit.config.settings`."""

from hierfit.config.settings import option_value as option_value
from hierfit.config.settings import seed_problem as seed_problem
