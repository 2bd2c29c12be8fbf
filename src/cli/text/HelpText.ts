/**
 * The text of `--help`, fitted to the terminal.
 */
import type { ArgDoc, ExampleDoc, FlagDoc, HelpDoc } from "effect/cli/HelpDoc"
import * as Option from "effect/Option"
import { blank, heading, type Line, line, type Piece, span, widthOf, wrapped } from "./Text.ts"

/** The widest left column; what is wider has its description on the next line. */
const maximumLeft = 30

interface Entry {
  readonly left: ReadonlyArray<Piece>
  readonly right: string
}

/** Terms with their descriptions beside them. */
const entries = (all: ReadonlyArray<Entry>): ReadonlyArray<Line> => {
  const column = Math.min(maximumLeft, all.reduce((widest, { left }) => Math.max(widest, widthOf(left)), 0))
  return all.flatMap(({ left, right }): ReadonlyArray<Line> => {
    const wide = widthOf(left)
    const indent = column + 4
    return wide > column
      ? [line("  ", ...left), wrapped(indent, " ".repeat(indent), right)]
      : [wrapped(indent, "  ", ...left, " ".repeat(column - wide + 2), right)]
  })
}

const section = (title: string, lines: ReadonlyArray<Line>): ReadonlyArray<Line> =>
  lines.length === 0 ? [] : [blank, heading(title), ...lines]

const descriptionOf = (text: Option.Option<string>): string => Option.getOrElse(text, () => "")

const argument = (doc: ArgDoc): Entry => ({
  left: [span("name", `${doc.name}${doc.variadic ? "..." : ""}`)],
  right: `${descriptionOf(doc.description)}${doc.required ? "" : " (optional)"}`
})

/** Choices that the description does not say are spelled out as the flag's value. */
const flag = (doc: FlagDoc): Entry => ({
  left: [
    span("name", [...doc.aliases, `--${doc.name}`].join(", ")),
    ...(doc.type === "boolean" ? [] : [` ${doc.type.includes("|") ? "CHOICE" : doc.type}`])
  ],
  right: descriptionOf(doc.description)
})

const example = ({ command, description }: ExampleDoc): ReadonlyArray<Line> => [
  ...(description === undefined ? [] : [wrapped(4, "  ", span("dim", `# ${description}`))]),
  line(`  ${command}`)
]

/** The lines of a command's help. Descriptions are paragraphs, separated by empty lines. */
export const helpText = (doc: HelpDoc): ReadonlyArray<Line> => [
  line(span("heading", "usage: "), doc.usage),
  ...doc.description.split("\n\n").flatMap((
    paragraph
  ) => [blank, wrapped(0, paragraph.replaceAll(/\s*\n\s*/g, " ").trim())]),
  ...section("Arguments", entries((doc.args ?? []).map(argument))),
  ...section(
    "Commands",
    entries(
      (doc.subcommands ?? []).flatMap(({ commands }) =>
        commands.map((each): Entry => ({
          left: [span("name", each.name)],
          right: each.shortDescription ?? each.description
        }))
      )
    )
  ),
  ...section("Flags", entries([...doc.flags, ...(doc.inheritedFlags ?? [])].map(flag))),
  ...section("Flags of all commands", entries((doc.globalFlags ?? []).map(flag))),
  ...section("Examples", (doc.examples ?? []).flatMap(example))
]
