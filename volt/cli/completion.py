"""volt completion: the script by which a shell completes the words of volt."""

from __future__ import annotations

from typing import Annotated

import typer

from volt.cli.failure import FAILED, failing
from volt.errors import VoltError

# Each asks the `volt` that is being typed: another one has other words. What ends with / or = or : goes on.
BASH = """\
# volt's completion for bash: eval "$(volt completion bash)"
_volt() {
    local IFS=$'\\n'
    COMPREPLY=($("$1" __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:] ]]; then compopt -o nospace; fi
}
complete -F _volt volt
"""
ZSH = """\
#compdef volt
# volt's completion for zsh: a file _volt in a folder of $fpath, or eval "$(volt completion zsh)" behind compinit
_volt() {
    local -a lines going ending going_shown ending_shown
    local line word
    lines=("${(@f)$("${(Q)words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        word="${line%%$'\\t'*}"
        [[ -z "$word" ]] && continue
        if [[ "$word" == *[/=:] ]]; then
            going+=("$word"); going_shown+=("${line/$'\\t'/  -- }")
        else
            ending+=("$word"); ending_shown+=("${line/$'\\t'/  -- }")
        fi
    done
    (( $#going )) && compadd -S '' -l -d going_shown -a going
    (( $#ending )) && compadd -l -d ending_shown -a ending
}
if [[ "${funcstack[1]}" == _volt ]]; then _volt "$@"; else compdef _volt volt; fi
"""
FISH = """\
# volt's completion for fish: volt completion fish > ~/.config/fish/completions/volt.fish
function __volt_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    $program __complete fish $words (commandline -ct) 2>/dev/null
end
complete -c volt -f -a '(__volt_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def _shells(incomplete: str) -> list[str]:
    return [shell for shell in SCRIPTS if shell.startswith(incomplete)]


Shell = Annotated[
    str, typer.Argument(metavar="bash|zsh|fish", help="The shell.", show_default=False, autocompletion=_shells)
]


@failing(FAILED)
def completion(shell: Shell) -> int:
    """Print the script that lets a shell complete volt's verbs, options, files and the names of workloads.

    For bash put `eval "$(volt completion bash)"` into ~/.bashrc, or the output into /etc/bash_completion.d/volt;
    for zsh the output into a file `_volt` in a folder of $fpath; for fish into ~/.config/fish/completions/volt.fish.
    Names of workloads are root's to see.
    """
    if shell not in SCRIPTS:
        raise VoltError(f"no completion for '{shell}'", hint=f"write one of {', '.join(SCRIPTS)}")
    print(SCRIPTS[shell], end="")
    return 0
