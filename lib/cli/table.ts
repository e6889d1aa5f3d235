/** Rows as text: columns padded to their widest cell and four blanks more, the last one as it is. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row) => {
      const cells = row.map((cell, i) =>
        i === row.length - 1 ? cell : cell.padEnd(widths[i]! + 4),
      );
      return `${cells.join("")}\n`;
    })
    .join("");
}
