"""Stage config: checks that params.yaml is valid and is composed from the present conf/."""
