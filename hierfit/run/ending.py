"""What a run says that does not come to its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jsonargparse import ArgumentError

from hierfit.errors import NO_LEAVE, UserError
from hierfit.run.saving import Stopped
from hierfit.run.together import process_number


@contextmanager
def said_plainly() -> Iterator[None]:
    """Faults that are nobody's mistake in programming, in a sentence.

    Raises:
        UserError: An option is wrong; or there is no room, or no leave, to write.
        SystemExit: The run was asked to stop, and has saved itself.
    """
    try:
        yield
    except ArgumentError as error:
        hint = "Name an experiment: --config experiments/base.yaml --config experiments/lathadapter_fewshot.yaml"
        raise UserError(str(error), hint=hint if str(error).endswith("required: fit.model") else "") from error
    except Stopped as stop:
        if process_number() == 0:
            print(stop, file=sys.stderr)
            sys.exit(stop.exit_code)
        sys.exit(0)  # whoever started the processes would take another code for a crash of this one
    except OSError as error:
        if error.errno not in NO_LEAVE:
            raise
        raise UserError(
            f"{error.filename or 'A file'} cannot be written: {error.strerror}",
            hint="What was written before is whole. Make room, or choose another place with --runs; "
            "the same command then goes on from where it last saved.",
        ) from error
