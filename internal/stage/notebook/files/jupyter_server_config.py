# Settings of this notebook instance. The file is written anew at each start;
# lines that a lifecycle configuration appends are read.
c = get_config()  # noqa: F821

c.ServerApp.root_dir = ROOT_DIR
c.ServerApp.open_browser = False
c.ServerApp.quit_button = False
c.ServerApp.use_redirect_file = False
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash", "-l"]}

# What is deleted is gone: a trash folder would fill the volume unseen.
c.FileContentsManager.delete_to_trash = False

c.MultiKernelManager.default_kernel_name = "conda_python3"
c.KernelManager.transport_encryption = "auto"
c.KernelSpecManager.ensure_native_kernel = False
# A kernel that is used for the first time may first have to be installed.
c.MappingKernelManager.kernel_info_timeout = 900

# Nothing is asked of the Internet by itself.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.LanguageServerManager.autodetect = False
