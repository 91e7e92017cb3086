"""What a config means before anything runs: descriptions, matching, costs, stage plans, teachers, devices."""
