"""What is minimized: penalties, similarities, and the objective that they make."""
