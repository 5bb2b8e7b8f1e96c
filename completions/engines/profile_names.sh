# The names of all profiles; the directory is the one that logsh itself would look into.
_logsh_profile_names() {
    local directory=$LOGSH_CONFIG_DIR
    case $directory in
    '~' | '~/'*) directory=$HOME${directory#\~} ;;
    '')
        case "$XDG_CONFIG_HOME:$OSTYPE" in
        /*) directory=$XDG_CONFIG_HOME/logsh ;;
        *:darwin*) directory="$HOME/Library/Application Support/logsh" ;;
        *) directory=$HOME/.config/logsh ;;
        esac
        ;;
    esac
    echo default
    [[ -r $directory/config.toml ]] && command sed -nE \
        "s/^ *\[ *profiles *\. *(\"([^\"]+)\"|'([^']+)'|([A-Za-z0-9_-]+)) *\].*/\2\3\4/p" \
        "$directory/config.toml" 2>/dev/null
}
