"""Who runs a pipeline's slots, and where: the decisions (pure), the actor that carries them out, places in Ray."""
