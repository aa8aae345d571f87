"""The 24 words on a terminal: typed in one by one or all at once, and three of them asked back once they were shown."""

from __future__ import annotations

from apps.cli.output import Output
from apps.cli.terminal import Lines, interactive, standard_input
from sync.service.api import KithkinError

ENDED = "Not all of the words were typed; nothing was changed."


async def read_words(out: Output) -> str:
    """The words from standard input, or from a person, each checked against the list as it is typed.  Raises
    `phrase_invalid`."""
    from sync.service.phrase import WORDS, is_word, normal_phrase

    if not interactive():
        return normal_phrase(standard_input())
    typed: list[str] = []
    out.note(f"Type your {WORDS} words, one a line or several.")
    with Lines() as lines:
        while len(typed) < WORDS:
            out.note(f"Word {len(typed) + 1}:")
            line = await lines.next()
            if line is None:
                raise KithkinError("phrase_invalid", ENDED)
            for word in line.split():
                if not is_word(word):
                    out.note(f"Word {len(typed) + 1} is not in the word list; check its spelling and type it again.")
                    break
                typed.append(word)
    return normal_phrase(" ".join(typed))


async def ask_back(phrase: str, out: Output) -> None:
    """Asks a person for three of the words that were just shown.  Whoever cannot say them is told, and goes on."""
    from sync.service.phrase import asked_back

    if out.json or not interactive():
        return
    words = phrase.split()
    out.note("Write them down now. Three of them are asked back.")
    with Lines() as lines:
        for place in asked_back():
            while True:
                out.note(f"Word {place}:")
                line = await lines.next()
                if line is None:
                    out.note("Not checked: `kithkin phrase check` does it at any time.")
                    return
                if line.strip().lower() == words[place - 1]:
                    break
                out.note(f"That is not word {place}. Look at what you wrote down.")
    out.note("Right. Keep the paper where you would keep money.")
