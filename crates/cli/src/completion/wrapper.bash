
# Readline breaks words at = and : and completes the last piece; the program wants words as its command line
# has them.
_uwwan() {
    local line=$COMP_LINE pieces=("${COMP_WORDS[@]}") words=() gap piece i current=0 begun=$2
    [[ ! $begun =~ ^[=:]+$ ]] || begun=
    for i in "${!pieces[@]}"; do
        piece=${pieces[i]}
        gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        line=${line#"$piece"}
        ((i != COMP_CWORD)) || [[ $piece =~ ^[=:]+$ ]] || piece=$begun
        if [[ $COMP_LINE && ! $gap ]] && ((i > 1)); then
            words[${#words[@]} - 1]+=$piece
        else
            words+=("$piece")
        fi
        ((i != COMP_CWORD)) || current=$((${#words[@]} - 1))
    done
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$current whole=${words[current]}
    _clap_complete_uwwan "$1" "$whole" "$3"
    local before=${whole%"$begun"}
    [[ $whole == "$begun" ]] || COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
if ((BASH_VERSINFO[0] > 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] >= 4))); then
    complete -o nospace -o bashdefault -o nosort -F _uwwan uwwan
else
    complete -o nospace -o bashdefault -F _uwwan uwwan
fi
