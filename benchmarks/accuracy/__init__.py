"""The accuracy of bmopt's INT8 beside other tools', and what it costs."""
