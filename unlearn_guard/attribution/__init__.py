"""Where in a model an answer comes from: edge scores, the circuit they name, and what an edit did to it."""
