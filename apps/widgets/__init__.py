"""The KivyMD side of both windows: it draws the states of `apps.viewmodels`, calls their methods, and decides nothing.

Kivy reads its settings from the environment when it is first imported, so they are set here, before any module of
this package can import it.
"""

import os

SETTINGS = {
    "KIVY_NO_ARGS": "1",  # Kithkin reads the command line itself
    "KIVY_NO_CONFIG": "1",  # a window does not depend on what another app left in the home folder
    "KIVY_NO_FILELOG": "1",  # a log could contain message texts
    "KIVY_LOG_MODE": "PYTHON",  # warnings and tracebacks to standard error, as everywhere else
}
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
