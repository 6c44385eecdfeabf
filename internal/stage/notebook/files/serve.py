import importlib.util
import os
import sys

# A grammar that jsonschema would compile for a format that nothing here checks
# costs more than all other imports together. It copes without.
sys.modules["rfc3987_syntax"] = None

# What the machine has of Jupyter is not this instance's. The runtime's own lies
# below the layer that is sys.prefix.
from jupyter_core import paths

paths.SYSTEM_JUPYTER_PATH[:] = ["/opt/clary/env/share/jupyter"]
paths.SYSTEM_CONFIG_PATH[:] = []

from jupyter_server.auth.identity import IdentityProvider, User
from jupyterlab.labapp import LabApp, main


class Owner(IdentityProvider):
    """Everybody who comes this far was let in by Clary, as the one user."""

    token = ""
    auth_enabled = True
    login_available = False
    logout_available = False

    def get_user(self, handler):
        return User(username="ec2-user", name="ec2-user", display_name="ec2-user", initials="ec")

    def validate_security(self, app, ssl_options=None):
        pass


# What Clary sees of this server's use, beside the server's own handlers.
spec = importlib.util.spec_from_file_location("clary_activity", os.path.join(os.environ["JUPYTER_DATA_DIR"], "clary/clary_activity.py"))
activity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(activity)
initialize_handlers = LabApp.initialize_handlers


def and_watch(self):
    initialize_handlers(self)
    activity.load(self.serverapp)


LabApp.initialize_handlers = and_watch

main(["--ServerApp.identity_provider_class=__main__.Owner", *sys.argv[1:]])
