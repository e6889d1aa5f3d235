/** What a cell looks like on a terminal; its width counts as before. */
export type Paint = (cell: string, row: number, column: number) => string;

/** Rows as text: columns padded to their widest cell and four blanks more, the last one as it is. */
export function table(rows: readonly (readonly string[])[], paint: Paint = (cell) => cell): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row, y) => {
      const cells = row.map((cell, x) => {
        const blanks = x === row.length - 1 ? "" : " ".repeat(widths[x]! + 4 - cell.length);
        return paint(cell, y, x) + blanks;
      });
      return `${cells.join("")}\n`;
    })
    .join("");
}
