"""One self-contained HTML page about a run: `content` gathers plain data, `page` makes the file, a browser draws it."""
