"""The demo: a shop in the mesh, seen by its sidecars' metrics only."""
