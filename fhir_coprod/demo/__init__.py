"""The demo: an invented hospital of three departments, to see the main job at work without any EHR."""
