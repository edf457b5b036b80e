"""A simulated hospital of three departments, for seeing the main job at work on a machine without any EHR."""
