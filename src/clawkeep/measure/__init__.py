"""Measuring hosts: the collector over the connection of the inventory, and probes from the site's vantage points."""
