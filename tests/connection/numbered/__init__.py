"""What the servers of the differential test serve: an answer with the number of its request."""
