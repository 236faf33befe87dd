"""One self-contained HTML page about a run: `content` gathers it as plain data, `page` makes the file, a browser draws."""
