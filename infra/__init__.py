"""Every wire, table and process. The bands inside are checked by import-linter."""
