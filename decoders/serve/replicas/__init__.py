"""The server as several replicas on the machines of a Ray cluster, with one process in front of them."""
