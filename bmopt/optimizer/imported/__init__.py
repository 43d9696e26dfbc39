"""Models that come quantised: their encodings read off, their arithmetic turned to float."""
