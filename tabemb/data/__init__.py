"""From the user's frame to arrays: frames, schema, vocabularies, encoding and effects. No torch here."""
