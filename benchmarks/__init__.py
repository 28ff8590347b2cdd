"""Speed and accuracy, measured against bars and peers; results are kept as JSON. Not installed: run from the checkout."""
