"""The stage graph on machines that share nothing but git and DVC's store."""
