/**
 * How time grows with the size of the work, over the cases of a series: the exponent, and a plot of both sides.
 */
import { plot } from "simple-ascii-chart"
import type { Row } from "./Harness.ts"

/** A point: the size of the work and the time that it takes, in milliseconds. */
export type Point = readonly [size: number, milliseconds: number]

/** The slope of the line through the logarithms, by least squares: 1 where time is proportional to size. */
export const exponent = (points: ReadonlyArray<Point>): number => {
  const logs = points.map(([size, time]): Point => [Math.log(size), Math.log(time)])
  const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const x = mean(logs.map(([size]) => size))
  const y = mean(logs.map(([, time]) => time))
  const above = mean(logs.map(([size, time]) => (size - x) * (time - y)))
  return above / mean(logs.map(([size]) => (size - x) ** 2))
}

/** The exponents of every series of at least three cases, and a plot of it with logarithms on both axes. */
export const growth = (rows: ReadonlyArray<Row>): string => {
  const series = Map.groupBy(
    rows.filter((row) => row.case.growth !== undefined),
    (row) => row.case.growth?.series ?? ""
  )
  return [...series].filter(([, of]) => of.length >= 3).map(([name, of]) => {
    const side = (time: (row: Row) => number | undefined): ReadonlyArray<Point> =>
      of.flatMap((row): ReadonlyArray<Point> => {
        const taken = time(row)
        return taken === undefined ? [] : [[row.case.growth?.size ?? 0, taken]]
      })
    const ours = side((row) => row.ours.milliseconds)
    const peer = side((row) => row.peer?.milliseconds)
    const drawn = [ours, peer].filter((points) => points.length > 0).map((points) =>
      points.map(([size, time]): [number, number] => [Math.log10(size), Math.log10(time)])
    )
    const chart = plot(drawn, {
      width: 70,
      height: 18,
      title: `${name}: log10 of milliseconds over log10 of size`,
      symbols: { empty: " " },
      legend: { position: "bottom", series: ["ours", of[0]?.case.peer?.name ?? "peer"].slice(0, drawn.length) },
      formatter: (value) => String(Number(value.toFixed(1)))
    })
    const words = [`ours ${exponent(ours).toFixed(2)}`]
    if (peer.length >= 3) words.push(`${of[0]?.case.peer?.name} ${exponent(peer).toFixed(2)}`)
    return `\n${chart}\ngrowth of ${name}, exponent: ${words.join(", ")}\n`
  }).join("")
}
