"""What a network is and costs, exactly: sizes, receptive fields, parameters, memory, matrices."""
