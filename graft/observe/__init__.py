"""What operators see: one request id, one access record a request, logs and metrics of both sides."""
