"""Prefect lives here and nowhere else: the delivery as a flow of tasks."""
