"""The team's own metrics. Each module here has a METRIC (tasks/metric.py) and the TASK that it is for.

They stand in evaluation.json and in the report beside the task's own, and the gate and a search may name them.
docs/your-data.md has an example.
"""
