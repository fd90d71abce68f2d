"""One machine as a cluster: the library behind auto/local."""
