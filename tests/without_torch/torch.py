"""PyTorch that cannot be imported, first on the path of commands that tests start: TensorBoard's writer imports PyTorch
where it is installed, which takes seconds, and no command needs it."""

raise ImportError("commands run without PyTorch")
