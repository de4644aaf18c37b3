"""What a run gives: tables, figures, and what a terminal shows of them."""
