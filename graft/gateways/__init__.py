"""The gateways of this machine: what each says of itself while it runs, where that is found, and how it is asked."""
