"""What several experiments share: settings, data and problems. No experiment stands here."""
