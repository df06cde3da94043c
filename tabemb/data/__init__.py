"""From the user's frame to arrays: frames, schema, vocabularies, encoding. No torch here."""
