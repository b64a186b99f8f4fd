// The orders of the table. `-column` is from the most down; what has no figure comes last either way; any other text is
// the app's own order. Which needs a look is told in a few grades: rows don't change places with each request.

export const USUAL = "-look";
export const AS_IN_THE_APP = "app";

const all = (served) => served.native + served.legacy + served.fallback;

const COLUMNS = {
  look: (row) => (row.tripped ? 4 : row.rung?.different ? 3 : row.climb ? 2 : row.share > 0 && row.share < 100 ? 1 : 0),
  route: (row) => `${row.route.slice(row.route.indexOf(" ") + 1)} ${row.route}`,
  share: (row) => row.share,
  mirror: (row) => row.mirror,
  served: (row) => all(row.served),
  slow: (row) => Math.max(row.latency_ms.native.p99 ?? -1, row.latency_ms.legacy.p99 ?? -1),
  parity: (row) => row.rung?.parity ?? null,
};

export const startsDown = (column) => column !== "route" && column !== "parity";

export const isOrder = (order) => order === AS_IN_THE_APP || Object.hasOwn(COLUMNS, order.replace(/^-/, ""));

export function inOrder(rows, order) {
  if (order === AS_IN_THE_APP) return rows;
  const [column, turned] = order.startsWith("-") ? [order.slice(1), -1] : [order, 1];
  const values = new Map(rows.map((row) => [row, COLUMNS[column](row.data)]));
  return [...rows].sort((one, other) => {
    const [a, b] = [values.get(one), values.get(other)];
    if (a === b) return 0;
    if (a === null || b === null) return a === null ? 1 : -1;
    return (a < b ? -1 : 1) * turned;
  });
}

// The route that is looked at first where nobody has chosen one.
export const needsALook = (rows) => inOrder(rows, USUAL)[0];
